"""Measurements on signals, shared by the stages that judge them."""
