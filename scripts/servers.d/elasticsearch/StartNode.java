import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Builds a node from a home folder with config/ and modules/, as the server's own main does.
 * That main cannot be used: it loads an entitlement agent that is not published as a package.
 */
public final class StartNode {
    private StartNode() {}

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]);
        LogConfigurator.registerErrorListener();
        Settings settings = Settings.builder().put("path.home", home.toString()).build();
        Environment env = InternalSettingsPreparer.prepareEnvironment(
            settings, Map.of(), home.resolve("config"), () -> "local");
        LogConfigurator.configure(env, true);
        PluginsLoader loader = PluginsLoader.createPluginsLoader(
            bundles(env.modulesDir()), Set.of(), Map.of(), false);
        Node node = new Node(env, loader);
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (java.io.IOException e) {
                e.printStackTrace();
            } finally {
                closed.countDown();
            }
        }, "close-node"));
        node.start();
        closed.await();
    }

    /** Version 9 asks besides whether stable plugins count; version 8 does not. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> bundles(Path modules) throws ReflectiveOperationException {
        Method load = Arrays.stream(PluginsLoader.class.getMethods())
            .filter(method -> method.getName().equals("loadModulesBundles")).findFirst().orElseThrow();
        Object[] arguments = load.getParameterCount() == 1 ? new Object[] {modules} : new Object[] {modules, false};
        return (Set<PluginBundle>) load.invoke(null, arguments);
    }
}
