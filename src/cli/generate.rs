//! `crosslink completions`, `man` and `schema`: what a package holds beside the program, made by the program itself.

use clap::CommandFactory;
use clap::builder::Resettable;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, EXAMPLES, EXIT_CODES, Failure, print};
use crate::config::json_schema;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// The command that the page is about; left out, it is about crosslink as a whole
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(super) fn completions(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "crosslink", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub(super) fn man(arguments: &ManArguments) -> Result<(), Failure> {
    // There is no page about `help`.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let about = match &arguments.command {
        None => Some(&program),
        Some(name) => program.find_subcommand(name),
    };
    let Some(about) = about else {
        return Err(Failure::usage("there is no such command", "`crosslink --help` lists them"));
    };
    let name = about.get_display_name().unwrap_or(about.get_name()).to_uppercase();
    let has_commands = about.has_subcommands();
    let man = Man::new(about.clone().after_help(Resettable::Reset))
        .title(name)
        .date(" ")
        .source(SOURCE)
        .manual("User Commands");
    let mut page = Vec::new();
    man.render(&mut page)
        .map_err(|error| Failure::new(format!("cannot write the page: {error}"), "this is a mistake in crosslink"))?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if has_commands {
        page.push_str(&more_sections());
    }
    print(&page)
}

/// What `--help` says at its end, as sections of a page.
fn more_sections() -> String {
    let escape = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    // In the examples the lines stay as they are.
    let examples = escape(EXAMPLES);
    let [exit_codes, files] = [EXIT_CODES, FILES].map(escape);
    format!(".SH EXAMPLES\n.nf\n{examples}\n.fi\n.SH \"EXIT STATUS\"\n{exit_codes}\n.SH FILES\n{files}\n")
}

pub(super) fn schema() -> Result<(), Failure> {
    print(&json_schema())
}

const SOURCE: &str = concat!("crosslink ", env!("CARGO_PKG_VERSION"));
const FILES: &str = "/etc/crosslink/crosslink.yaml is the configuration, unless --config, CROSSLINK_CONFIG or config/crosslink.yaml is there.";
