"""How PROPFIND tells of resources, one after another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.dav.properties import PropertyName
from chunkstore.core.timestamps import GREATEST_TIMESTAMP, LEAST_TIMESTAMP
from chunkstore.http.dav.live_properties import BY_NAME, OF_ALL, Resource
from chunkstore.http.dav.multistatus import dav
from chunkstore.http.dav.propfind_body import Kind, Wanted
from chunkstore.http.dav.shape import Shape

COLOUR = PropertyName("urn:100%s", "colour")
TIMES = st.none() | st.integers(LEAST_TIMESTAMP, GREATEST_TIMESTAMP)
RESOURCES = st.builds(
    Resource,
    href=st.sampled_from(["/dav/a", "/dav/a%25s/", "/dav/a&amp;b"]),
    is_folder=st.booleans(),
    created=TIMES,
    modified=TIMES,
    size=st.integers(0, 3),
    media_type=st.sampled_from(["", "text/plain", "a/%s", "a/b; c=&lt;&amp;&gt;"]),
    etag=st.sampled_from([None, "e%d"]),
    dead=st.sampled_from([{}, {COLOUR: '<colour xmlns="urn:100%s">1 %</colour>'}]),
    locks=st.sampled_from(["", "<D:activelock>%</D:activelock>"]),
    quota=st.sampled_from([None, (1, 2)]),
)
WANTED = st.builds(
    Wanted,
    st.sampled_from(Kind),
    st.lists(st.sampled_from([*BY_NAME, COLOUR, dav("of%s")]), unique=True).map(tuple),
)


@given(WANTED, st.booleans(), st.lists(RESOURCES, min_size=2, max_size=8))
def test_what_is_told_of_one_does_not_hang_on_the_ones_before(
    wanted: Wanted, is_minimal: bool, resources: list[Resource]
) -> None:
    shape = Shape(wanted, is_minimal=is_minimal)
    for resource in resources:
        assert shape.format(resource) == Shape(wanted, is_minimal=is_minimal).format(resource)


@given(RESOURCES)
def test_each_property_is_told_as_it_is(resource: Resource) -> None:
    told = Shape(Wanted(Kind.ALL, ()), is_minimal=False).format(resource)
    contents = [getattr(resource, of) for of in OF_ALL.values()]
    assert all(str(content) in told for content in contents if content is not None)
    assert all(element in told for element in resource.dead.values())
