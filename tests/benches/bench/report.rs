//! All figures of a run, for machines and for people.

use std::fmt::Write;

use serde::Serialize;

use crate::leases::Leases;
use crate::load::Load;
use crate::pairs::Pairs;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plugin_megabytes: f64,
    pub(crate) pairs: Pairs,
    pub(crate) load: Vec<Load>,
    pub(crate) leases: Leases,
}

/// Where it was measured: figures of two machines can't be compared.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    kernel: String,
}

impl Machine {
    pub(crate) fn here() -> anyhow::Result<Self> {
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }
}

/// Of 1,000,000 bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Report {
    /// One line per figure, the aim beside it where there is one.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::default();
        let Machine { cores, kernel } = &self.machine;
        table.title(&format!("{cores} cores, Linux {kernel}; medians, 95th percentiles in parentheses"));
        self.pairs_rows(&mut table);
        for load in &self.load {
            table.load("", load);
        }
        let leases = &self.leases;
        table.title(&format!("with {} leases (without: {:.1} MB)", leases.count, leases.empty_megabytes));
        table.row("resolver's memory", &format!("{:.1} MB", leases.loaded_megabytes), "≤ 64 MB");
        table.row("  after a restart", &format!("{:.1} MB", leases.restarted_megabytes), "≤ 64 MB");
        table.row("start-up", &format!("{:.0} ms", leases.start_up_milliseconds), "");
        table.load("  ", &leases.load);
        table.title("what ships");
        table.row("knap", &format!("{:.2} MB", self.plugin_megabytes), "≤ 2.5 MB");
        table.0
    }

    fn pairs_rows(&self, table: &mut Table) {
        let Pairs { count, direct, knap, knap_first_on_node } = &self.pairs;
        table.title(&format!(
            "{count} pairs of each, in turn: (a) bridge + host-local, (b) knap + resolver + bridge"
        ));
        for (verb, a, b) in [("ADD", direct.add, knap.add), ("DEL", direct.del, knap.del)] {
            table.row(&format!("(a) {verb}"), &format!("{:.1} ms ({:.1})", a.median, a.p95), "");
            table.row(&format!("(b) {verb}"), &format!("{:.1} ms ({:.1})", b.median, b.p95), "");
            table.row(&format!("    {verb} b/a"), &format!("{:.2}", b.median / a.median), "≤ 1.0");
        }
        let first = knap_first_on_node;
        let figure = format!("{:.1} ms / {:.1} ms", first.add.median, first.del.median);
        table.row("(b) first on the node", &figure, "");
        table.title("attach requests against the resolver, each followed by its release, all durable");
    }
}

/// Lines of a name, a figure and an aim.
#[derive(Default)]
struct Table(String);

impl Table {
    fn title(&mut self, title: &str) {
        self.line(&format!("\n{title}"));
    }

    fn row(&mut self, name: &str, figure: &str, aim: &str) {
        self.line(format!("  {name:<26} {figure:>22}   {aim}").trim_end());
    }

    fn load(&mut self, indent: &str, load: &Load) {
        let plural = if load.connections == 1 { "" } else { "s" };
        let name = format!("{indent}{} connection{plural}", load.connections);
        let refused = if load.refused > 0 { format!("{} refused", load.refused) } else { String::new() };
        self.row(
            &name,
            &format!("{:.0}/s, PUT {:.1} ms", load.attaches_per_second, load.put.median),
            &refused,
        );
    }

    fn line(&mut self, line: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{line}");
    }
}
