"""Trajectories in, joint motion of robots out."""
