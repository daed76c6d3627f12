"""ScoreCAM: the model seen through its channels, one masked forward each, exact or estimated in bounded memory."""
