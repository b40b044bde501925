package redis

const MaxIdle = maxIdle
