"""stlib: the small package behind the course. Importing it imports nothing heavy; take the rooms by name.

>>> from stlib import runtime, images, backbones
"""

__version__ = "0.1.0"
COURSE = "style-transfer-course"  # the setup cell of every chapter looks for this: another project is called stlib, too
