"""What setup.py does besides calling setuptools."""
