import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.ZooKeeper;

/** Takes Curator's locks as lines on standard input say; see process.go. */
public final class Curator {
    private final CuratorFramework client;
    private final Map<String, Owner> owners = new ConcurrentHashMap<>();

    private Curator(CuratorFramework client) {
        this.client = client;
    }

    /** A lock and its thread: only the thread that acquired it may release it. */
    private static final class Owner {
        final InterProcessLock lock;
        final ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });

        Owner(InterProcessLock lock) {
            this.lock = lock;
        }
    }

    private InterProcessLock lock(String kind, String path) {
        switch (kind) {
            case "mutex":
                return new InterProcessMutex(client, path);
            case "read":
                return new InterProcessReadWriteLock(client, path).readLock();
            case "write":
                return new InterProcessReadWriteLock(client, path).writeLock();
            default:
                throw new IllegalArgumentException("no such kind: " + kind);
        }
    }

    private String perform(Owner owner, String[] words) throws Exception {
        if (words[1].equals("release")) {
            owner.lock.release();
            return "true";
        }
        // Its locks are reentrant; the protocol's are not.
        if (owner.lock.isAcquiredInThisProcess()) {
            throw new IllegalStateException("it is held already");
        }
        return String.valueOf(owner.lock.acquire(Long.parseLong(words[4]), TimeUnit.MILLISECONDS));
    }

    private void handle(String[] words) {
        Owner owner = owners.computeIfAbsent(words[2] + " " + words[3], key -> new Owner(lock(words[2], words[3])));
        owner.thread.submit(() -> {
            String answer;
            try {
                answer = perform(owner, words);
            } catch (Throwable t) {
                answer = "error " + t;
            }
            say(words[0] + " " + answer);
        });
    }

    private static synchronized void say(String line) {
        System.out.println(line.replace('\n', ' '));
        System.out.flush();
    }

    public static void main(String[] args) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(args[0])
                .sessionTimeoutMs(Integer.parseInt(args[1]))
                .connectionTimeoutMs(3000)
                .retryPolicy(new RetryNTimes(10, 100))
                .build();
        client.start();
        client.blockUntilConnected();
        ZooKeeper session = client.getZookeeperClient().getZooKeeper();
        StringBuilder password = new StringBuilder();
        for (byte b : session.getSessionPasswd()) {
            password.append(String.format("%02x", b));
        }
        say("ready " + Long.toHexString(session.getSessionId()) + " " + password);

        Curator curator = new Curator(client);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            curator.handle(line.split(" "));
        }
        client.close();
        System.exit(0); // whatever still waits
    }
}
