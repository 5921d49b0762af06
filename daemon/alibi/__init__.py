"""alibi-detect out of process: its detectors need an environment of their own.

``child.py`` runs in it, and knows nothing of driftd; ``process.py`` asks one such process, ``bridge.py`` keeps one at
work for all models, and ``environment.py`` says where the environment is and what is wrong with it.
"""
