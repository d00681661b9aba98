//! Makes the PDF files of the evaluation corpus from their text: `make_pdf SOURCES_DIR CORPUS_DIR`.
//!
//! For: `evaluation/pdf-sources/FOLDER-NAME.txt` to `evaluation/corpus/FOLDER/NAME.pdf`. Not for: anything that must look good.
//! Invariant: the same text gives the same bytes. A text begins with `title:` and `date:` lines; `---` begins a page.

use std::path::Path;

use lopdf::content::{Content, Operation};
use lopdf::{Document, Object, Stream, dictionary};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (sources, corpus) = (args.next().ok_or("which sources?")?, args.next().ok_or("which corpus?")?);
    let mut files: Vec<_> = std::fs::read_dir(sources)?.filter_map(Result::ok).map(|e| e.path()).collect();
    files.sort();
    for file in files {
        let stem = file.file_stem().and_then(|s| s.to_str()).ok_or("a file without a name")?;
        let (folder, name) = stem.split_once('-').ok_or("a name is FOLDER-NAME")?;
        let target = Path::new(&corpus).join(folder).join(format!("{name}.pdf"));
        document(&std::fs::read_to_string(&file)?)?.save(&target)?;
        println!("{}", target.display());
    }
    Ok(())
}

fn document(text: &str) -> Result<Document, Box<dyn std::error::Error>> {
    let mut parts = text.split("\n---\n");
    let head = parts.next().unwrap_or_default();
    let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    let mut pdf = Document::with_version("1.5");
    let pages = pdf.new_object_id();
    let font = pdf.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
    });
    let resources = pdf.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let mut kids = Vec::new();
    for page in parts {
        let content = pdf.add_object(Stream::new(dictionary! {}, lines(page).encode()?));
        let page = dictionary! { "Type" => "Page", "Parent" => pages, "Contents" => content, "Resources" => resources };
        kids.push(Object::Reference(pdf.add_object(page)));
    }
    let count = i64::try_from(kids.len())?;
    let media: Vec<Object> = [0, 0, 595, 842].into_iter().map(Object::Integer).collect();
    pdf.set_object(pages, dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count, "MediaBox" => media });
    let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    let info = pdf.add_object(dictionary! {
        "Title" => Object::string_literal(field("title:")),
        "CreationDate" => Object::string_literal(format!("D:{}000000Z", field("date:"))),
    });
    pdf.trailer.set("Root", catalog);
    pdf.trailer.set("Info", info);
    Ok(pdf)
}

/// One text line below the other; a blank line leaves its space.
fn lines(page: &str) -> Content {
    let mut operations = vec![
        Operation::new("BT", vec![]),
        Operation::new("Tf", vec!["F1".into(), 11.into()]),
        Operation::new("TL", vec![15.into()]),
        Operation::new("Td", vec![60.into(), 780.into()]),
    ];
    for line in page.lines() {
        operations.push(Operation::new("Tj", vec![Object::string_literal(line)]));
        operations.push(Operation::new("T*", vec![]));
    }
    operations.push(Operation::new("ET", vec![]));
    Content { operations }
}
