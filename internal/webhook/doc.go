// Package webhook refuses edits of Meshlift's own objects that cannot work, at the moment they are made. It decides
// nothing itself: it gathers facts, asks package gate and package catalog, and hands their sentence to the API server.
//
// The rules cover objects of meshlift.dev only, so a webhook that does not answer can never stop anything else in the
// cluster; for these objects the failure policy is Fail. Unknown is never "no": when the facts cannot be read, the edit
// is refused with the reason. The controllers ask the same gates again, because two edits at the same moment do not see
// each other.
package webhook
