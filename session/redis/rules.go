package redis

// Rules are the rules of an ACL, as ACL SETUSER takes them, for a user that may do
// what the sessions of a namespace need and nothing else. The third line is for what the
// library says to be sure, without minding a refusal, which would fill the server's log.
// Where there are sentinels or a cluster, it asks those as well, which the last is for.
func Rules(namespace string) string {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	return "~{" + namespace + "}:* &{" + namespace + "}:* " +
		"+evalsha +eval +asking +ssubscribe +select +wait " +
		"+ping " +
		"+time +info +get +set +del +exists +pttl +pexpire +spublish " +
		"+hget +hset +hmget +hgetall +hexists +hdel " +
		"+zadd +zrem +zrank +zrange +zrandmember " +
		"+cluster|slots +cluster|shards +role"
}
