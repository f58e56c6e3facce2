//! What acts on the API's objects in a cluster: kube-controller-manager and kube-scheduler.

use super::daemon::Daemon;
use super::{ADMIN, KubernetesApi, assets};

impl KubernetesApi {
    /// Starts what empties namespaces that are deleted and removes what has lost its owner.
    ///
    /// # Panics
    /// Where the assets have no kube-controller-manager.
    pub fn start_controller_manager(&mut self) {
        self.start_controllers("namespace,garbagecollector");
    }

    /// Starts these of Kubernetes' own controllers.
    ///
    /// # Panics
    /// Where the assets have no kube-controller-manager.
    pub fn start_controllers(&mut self, controllers: &str) {
        self.start_acting("kube-controller-manager", &[format!("--controllers={controllers}")]);
    }

    /// Starts what turns Deployments and DaemonSets into pods, gives service accounts their tokens, and finds pods their nodes.
    ///
    /// # Panics
    /// Where the assets lack one of both.
    pub fn start_control_plane(&mut self) {
        let arguments = [
            // Nothing here signs certificates, and no cloud is asked.
            "--controllers=*,-csrsigning,-csrapproving,-csrcleaner,-nodeipam,-route,-service,-cloud-node-lifecycle".to_owned(),
            format!("--service-account-private-key-file={}", self.server.private_key().display()),
            format!("--root-ca-file={}", self.server.certificate().display()),
        ];
        self.start_acting("kube-controller-manager", &arguments);
        self.start_acting("kube-scheduler", &[]);
    }

    fn start_acting(&mut self, name: &str, more: &[String]) {
        let program = assets().join(name);
        assert!(
            program.is_file(),
            "{} is missing: unset KUBEBUILDER_ASSETS and run tests/setup/kubernetes.sh",
            program.display()
        );
        let mut arguments = vec![
            format!("--kubeconfig={}", self.kubeconfig(ADMIN).display()),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        arguments.extend_from_slice(more);
        let log = self.folder.path().join(format!("{name}.log"));
        self.controllers.push(Daemon::start(&program, &arguments, &log));
    }
}
