"""The other engines, one file each, in the configuration that was fastest here.

`bench.harness.engines` finds every module of this folder and takes its `ENGINES`. A module imports
its library only when one of them is built, since a library may be missing.
"""
