"""Data sets that an entry of a catalogue describes: those in `catalogue.yaml` here, and the user's own.

`entries` has the catalogue; `tables` reads an archive as its entry says, `netflix` and `kuairec` those with formats of their
own.
"""
