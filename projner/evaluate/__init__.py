"""Evaluation: how good labels are, with the settings that the figure depends on."""
