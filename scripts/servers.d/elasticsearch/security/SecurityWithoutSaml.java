package org.elasticsearch.xpack.security;

import java.util.List;
import org.elasticsearch.common.settings.Settings;

/**
 * Security as it is, less the actions of the SAML realm: the libraries those are made with are not published as
 * packages, and a node makes every action when it starts.
 */
public final class SecurityWithoutSaml extends Security {
    public SecurityWithoutSaml(Settings settings) {
        super(settings);
    }

    @Override
    public List<ActionHandler> getActions() {
        return super.getActions().stream()
            .filter(handler -> !handler.getTransportAction().getName().contains(".saml."))
            .toList();
    }
}
