import org.apache.rocketmq.store.ha.DefaultHAService;

/**
 * The HA service of a broker without a slave. RocketMQ's own listens on every address of the machine for slaves to copy from, and no
 * setting changes that (duplicationEnable=true would leave it out, and with it delivery). The broker looks for its HA service in
 * META-INF/service.
 */
public class NoHA extends DefaultHAService {
    @Override
    public void start() { }

    @Override
    public void shutdown() { }
}
