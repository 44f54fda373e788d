"""The page of a sweep: a grid of trainings at a glance."""
