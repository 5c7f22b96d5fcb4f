"""Compares pycoll with MPI libraries and Gloo, each in an environment of its own.

``python -m bench.compare`` in the root of the repository; ``-h`` lists the options.
"""
