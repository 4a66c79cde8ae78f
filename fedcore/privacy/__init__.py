"""Budget arithmetic: mechanisms with a proven bound, exact noise, and what their releases cost together.

Pure functions on numbers. Who can see what: a release through one of these mechanisms tells of any one row at most
what its epsilon and delta allow, whatever else is known, assuming that the noise cannot be predicted and that each
row's share was bounded as the mechanism says. Whether a run refuses, fails or takes long is not covered.
"""
