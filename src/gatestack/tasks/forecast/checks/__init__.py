"""What an evaluation asks beyond scores: is it the last value in disguise, does it see the newest one?"""
