"""Release a table safely: hierarchies, privacy models, search, desensitization, detection of identifiers."""
