"""What people look at: leaderboards, pictures, significance tests, the report page; all derived from records.

The only room that uses matplotlib. Nothing here trains, searches or tracks.
"""
