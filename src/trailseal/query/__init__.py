"""Questions and answers, without HTTP."""
