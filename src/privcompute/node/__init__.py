"""A data holder's node: identity, datasets, owner's rules, jobs, ledger, audit.

Importing this package costs nothing; import the module that you need (`privcompute.node.api` for programs).
"""
