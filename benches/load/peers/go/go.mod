module handoff

go 1.19
