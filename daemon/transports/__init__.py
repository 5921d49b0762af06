"""Where events are kept until they are processed.

`base` is the seam and `registry` finds what fills it by the scheme of a URL. The embedded transport, from the inside
out: `log_file` (the tables), `log_writer`, `log_reader` and `log_trim` (what is done to them), `event_log` (the log
as others use it), `embedded` (the seam filled) and `embedded_driver` (the same, seen from Faust).

Kafka's: `kafka_options` (how a cluster is reached), `kafka_topics` (whether the topics are there), `kafka_keys` (which
partition an event belongs to), `kafka_sender` (produces), `kafka` (the seam filled), `kafka_thread` (consumes, in a
thread of its own), `kafka_driver` (the same, seen from Faust) and `kafka_logs` (what its clients may write down).
"""
