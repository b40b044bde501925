package redis

const (
	MaxIdle  = maxIdle
	MaxLines = maxLines
)
