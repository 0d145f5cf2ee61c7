"""Tasks in the file format of lm-evaluation-harness: a named part of it, computed here, and no code of anybody's."""
