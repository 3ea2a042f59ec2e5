"""Proximal policy optimization of an adapter: rollouts, rewards, and the policy's steps."""
