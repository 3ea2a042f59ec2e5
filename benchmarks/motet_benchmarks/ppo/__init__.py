"""What the engine is worth to PPO: rollouts against transformers' `generate`, and the whole loop with either."""
