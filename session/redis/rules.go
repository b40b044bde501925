package redis

// Rules are the rules of an ACL, as ACL SETUSER takes them, for a user that may do
// what the sessions of a namespace need and nothing else. Where there are sentinels or a
// cluster, the library asks those as well, which the last line is for.
func Rules(namespace string) string {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	return "~{" + namespace + "}:* &{" + namespace + "}:* " +
		"+evalsha +eval +hello +auth +ping +ssubscribe +sunsubscribe +select +wait " +
		"+time +info +get +set +del +exists +pttl +pexpire +spublish " +
		"+hget +hset +hmget +hgetall +hexists +hdel +sadd +smembers " +
		"+zadd +zrem +zrank +zrange +zcard +zrandmember " +
		"+cluster|slots +cluster|shards +role"
}
