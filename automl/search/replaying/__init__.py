"""Recorded tables of networks as studies: any search method runs on them in seconds, many seeds, nothing trained.

A table (`table`, said what it is by a `description`) becomes a space (`recorded_space`) whose evaluation reads a row;
a run is played through the same ledger, view and proposals as a real study (`playing`), and judged against what the
whole table holds (`judging`). The same plan can be handed to `automl.search.driver.drive`; a test compares the two.
"""
