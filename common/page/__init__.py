"""The look of the self-contained pages that sites and coordinators get: style sheet and figures."""
