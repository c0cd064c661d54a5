// Package xdsdiff compares what two istiods send to the same proxies. It is pure: adapters read the proxies of a cluster
// ([ProxyOf]) and ask the istiods ([Answer]); this package says which proxies need to be asked for ([Classes]), what differs
// ([Compare]), and where the value of an EnvoyFilter is seen ([Effects]).
//
// Resources are kept as they came and compared byte by byte; only those that differ are read, one pair at a time, so a mesh of
// a thousand services costs little. They are read by descriptors ([envoyapi.Types]): a field or a type that these do not
// know is compared as bytes and never an error.
package xdsdiff
