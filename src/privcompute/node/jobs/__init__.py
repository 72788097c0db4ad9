"""A query from question to result: the side that asks, and the side that answers.

ask                                         answer
open links
proposal  ------------------------------>   offer: entries of the datasets that the query names
plan, own rules, consent
agreement ------------------------------>   with the SQL: the same plan, own rules, consent
own rows                                    own rows
          <------------------------------   ready
go        ------------------------------>   (links among the others, if there are more than two)
run_plan  <----------------------------->   run_plan
"""

from privcompute.node.jobs.answer import answer
from privcompute.node.jobs.ask import ask
from privcompute.node.jobs.job import Outcome

__all__ = ["Outcome", "answer", "ask"]
