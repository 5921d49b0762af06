"""Where events are kept until they are processed.

`base` is the seam and `registry` finds what fills it by the scheme of a URL. The embedded transport, from the inside
out: `log_file` (the tables), `log_writer`, `log_reader` and `log_trim` (what is done to them), `event_log` (the log
as others use it), `embedded` (the seam filled) and `embedded_driver` (the same, seen from Faust).
"""
