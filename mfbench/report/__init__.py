"""What people look at: leaderboards, pictures, significance, the report page. Read from records alone.

The only home of matplotlib. Nothing here trains, searches or tracks.
"""
