"""The data set and the sites of the end-to-end tests."""

from tests.end_to_end.conftest import tiny_data as tiny_data
from tests.end_to_end.image.conftest import login as login
from tests.end_to_end.image.conftest import make_site as make_site
from tests.end_to_end.image.conftest import two_lineages as two_lineages
