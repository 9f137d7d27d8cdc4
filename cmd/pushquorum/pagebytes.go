package main

// pageShare is the part of the memory that pages may take by default. The state that fits beside it is in memory once;
// a page of it is about as large as text, a third to a tenth of it compressed.
const pageShare = 4

// maxPageBytes returns what --web.max-page-bytes stands for: 0 is a share of the available memory, or no bound where
// that is not known.
func maxPageBytes(flag, available int64) int64 {
	if flag > 0 {
		return flag
	}
	return available / pageShare
}
