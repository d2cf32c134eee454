import org.apache.rocketmq.store.ha.DefaultHAService;

/**
 * A broker without a second one. The service it replaces listens on every address of the machine for slaves to copy from, and no
 * setting tells it otherwise (duplicationEnable=true would leave it out, and with it delivery). The broker looks for its HA service in
 * META-INF/service.
 */
public class NoHA extends DefaultHAService {
    @Override
    public void start() { }

    @Override
    public void shutdown() { }
}
