"""What people look at: a study's record turned into plain facts, the facts into Plotly figures, and those into pages.

Two steps, so that what a picture says can be tested without drawing it (`facts`, `rows` and `comparison` know no
Plotly, `figures` no database). May import everything below it. Colours are chosen to hold on light and on dark paper:
text takes its own from the page's style sheet, so one figure serves both.
"""
