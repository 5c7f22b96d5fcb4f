"""Measures collectives, with the options and columns of nccl-tests.

``mpirun -n 4 python -m pycoll.bench all_reduce -b 8 -e 64M -f 4 --against mpi``
"""
