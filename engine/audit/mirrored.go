package audit

import (
	"cutover/engine/audit/scan"
	"cutover/engine/provenance"
)

// mirrored splits a follower record into its provenance, which must be its last header, and what was copied.
// Any other header of that form stays in the content: the mirror strips those, so it would be a difference.
func mirrored(record *scan.Record) (provenance.Origin, content, bool, error) {
	copied := content{body: record.Body, headers: record.Headers, count: record.HeaderCount}
	if record.HeaderCount == 0 {
		return provenance.Origin{}, copied, false, nil
	}
	rest := record.Headers
	for range record.HeaderCount - 1 {
		_, after, err := scan.NextHeader(rest)
		if err != nil {
			return provenance.Origin{}, content{}, false, err
		}
		rest = after
	}
	last, _, err := scan.NextHeader(rest)
	if err != nil {
		return provenance.Origin{}, content{}, false, err
	}
	origin, is := last.Provenance()
	if is {
		copied.headers = record.Headers[:len(record.Headers)-len(rest)]
		copied.count--
	}
	return origin, copied, is, nil
}
