"""Where adapter training (SFT, DPO, PPO, reward) and the adapter store will live; nothing is here yet."""
