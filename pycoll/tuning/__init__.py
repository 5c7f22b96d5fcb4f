"""Measuring what a machine can do, and remembering it for ``algorithm="auto"``.

`python -m pycoll tune` measures (`measure`, `grid`) and writes a file (`file`); communicators and
plans read it (`agreement`, `file`).
"""
