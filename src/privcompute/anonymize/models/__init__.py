"""Privacy models, one file each: each measures what a table reaches and says which classes may be released."""

from privcompute.anonymize.models.alpha_k import AlphaKAnonymity
from privcompute.anonymize.models.average_risk import AverageRisk
from privcompute.anonymize.models.beta_likeness import BetaLikeness
from privcompute.anonymize.models.delta_disclosure import DeltaDisclosure
from privcompute.anonymize.models.delta_presence import DeltaPresence
from privcompute.anonymize.models.distinct_l import DistinctLDiversity
from privcompute.anonymize.models.entropy_l import EntropyLDiversity
from privcompute.anonymize.models.estimated_k_map import EstimatedKMap
from privcompute.anonymize.models.k_anonymity import KAnonymity
from privcompute.anonymize.models.k_map import KMap
from privcompute.anonymize.models.model import Figures, Model, kept_by, monotone_part
from privcompute.anonymize.models.population_uniqueness import PopulationUniqueness
from privcompute.anonymize.models.recursive_cl import RecursiveCLDiversity
from privcompute.anonymize.models.t_closeness import TCloseness

__all__ = [
    "AlphaKAnonymity",
    "AverageRisk",
    "BetaLikeness",
    "DeltaDisclosure",
    "DeltaPresence",
    "DistinctLDiversity",
    "EntropyLDiversity",
    "EstimatedKMap",
    "Figures",
    "KAnonymity",
    "KMap",
    "Model",
    "PopulationUniqueness",
    "RecursiveCLDiversity",
    "TCloseness",
    "kept_by",
    "monotone_part",
]
