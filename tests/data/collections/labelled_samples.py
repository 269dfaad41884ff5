"""Small sound files that the tests change."""

from __future__ import annotations

TS = """#comment é
@problemName tiny
@timeStamps false
@missing false
@univariate true
@equalLength true
@seriesLength 3
@classLabel true up down
@data
1,2,3:up
3,2.5,-1e0:down
"""
ARFF = """% comment
@relation tiny
@attribute 'first step' real
@attribute b NUMERIC
@attribute c integer
@attribute target {up,'go down'}
@data
1,2,3,up
3,?,1,'go down'
"""
RELATIONAL = """@relation tiny
@attribute steps relational
  @attribute a numeric
  @attribute b numeric
@end steps
@attribute activity {rest,walk}
@data
"1,2\\n3,4",rest
'5,6\\n7,?',walk
"""
