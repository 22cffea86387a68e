"""The rendered world: museum photographs of vessels whose dynasty, glaze, kiln and type are known.

`render_dataset` is the entry; `history.yaml` is the table that says what goes with what.
"""
