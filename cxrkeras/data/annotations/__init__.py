"""What experts marked on films: boxes, outlines and masks of every common form, as masks by film and finding.

Knows no model and no map; `read_annotations` is the one entrance, `matched_films` says which film each mark belongs to.
"""

from cxrkeras.data.annotations.geometry import film_region as film_region
from cxrkeras.data.annotations.match import matched_films as matched_films
from cxrkeras.data.annotations.names import ALIASES as ALIASES
from cxrkeras.data.annotations.names import canonical_finding as canonical_finding
from cxrkeras.data.annotations.read import read_annotations as read_annotations
from cxrkeras.data.annotations.regions import Annotations as Annotations
from cxrkeras.data.annotations.regions import Region as Region
from cxrkeras.data.annotations.statements import read_statements as read_statements
